package postoffice.client;

import java.io.IOException;
import java.util.Map;
import java.util.UUID;

/** The storage, and what the client has in it: the device, the handled ids, words of the application. Lives on the loop. */
final class Keeper {
    final Map<String, String> stored;
    private final Storage storage;
    private final Events events;
    private final Remembered remembered;

    Keeper(Options options, Events events) throws IOException {
        this.events = events;
        storage = options.storage;
        stored = storage.all();
        remembered = new Remembered(options.rememberIds, stored);
    }

    /** The device that an earlier client of this storage made, or a new one. */
    String device() throws IOException {
        String device = stored.get("device");
        if (device == null) {
            device = UUID.randomUUID().toString().substring(0, 18);
            storage.write(Map.of("device", device));
        }
        return device;
    }

    /** Writes changes; false when that failed, and the application has been told. */
    boolean write(Map<String, String> changes) {
        try {
            storage.write(changes);
            return true;
        } catch (IOException e) {
            events.error(new PostOfficeException("storage", "the storage takes nothing: " + e, e));
            return false;
        }
    }

    void force() {
        try {
            storage.force();
        } catch (IOException e) {
            events.error(new PostOfficeException("storage", "the storage does not reach the disk: " + e, e));
        }
    }

    boolean remembers(Message message) {
        return remembered.has(message.key());
    }

    /** The message and what its handler kept are one record. */
    void remember(Message message) {
        Map<String, String> changes = remembered.add(message.key());
        message.kept().forEach((key, value) -> changes.put("kept/" + key, value));
        write(changes);
        if (message.type() != Message.CONTROL && events.handled.isHeard()) {
            events.handled.tell(message);
        }
    }

    String kept(String key) {
        return stored.get("kept/" + key);
    }

    void close() {
        try {
            storage.force();
            storage.close();
        } catch (IOException e) {
            events.error(new PostOfficeException("storage", "the storage did not close: " + e, e));
        }
    }
}
