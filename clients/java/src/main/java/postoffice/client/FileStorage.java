package postoffice.client;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.Map;
import java.util.zip.CRC32;

/**
 * A storage in a folder, for one client at a time: a journal that only grows, and is written anew when most of it is old.
 *
 * <p>A record is one line, {@code CRC-32 of the rest, a blank, JSON}. A record that a crash cut off is the last one and does
 * not match its sum; reading ends before it, and writing goes on there. {@link #write} hands the record to the system, so that
 * the end of the process loses nothing; {@link #force} puts it on the disk.
 */
public final class FileStorage implements Storage {
    private static final long REWRITE_BYTES = 1 << 20; // a journal below this size is never written anew

    private final Path journal;
    private final FileChannel lockFile;
    private final Map<String, String> values = new HashMap<>();
    private FileChannel channel;
    private long liveBytes; // about what the journal would take without old records
    private long rewriteAgain; // below this size the last attempt to write the journal anew failed
    private boolean dirty;

    /**
     * Opens the storage, and makes the folder when there is none.
     *
     * @param folder a folder of the client's own
     * @throws IOException when the folder cannot be used, or another client uses it
     */
    public FileStorage(Path folder) throws IOException {
        Files.createDirectories(folder);
        journal = folder.resolve("postoffice.journal");
        lockFile = FileChannel.open(folder.resolve("postoffice.lock"), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
        try {
            lock(folder);
            channel = FileChannel.open(journal, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
            load();
            forceFolder();
        } catch (IOException | RuntimeException e) {
            close();
            throw e;
        }
    }

    private void lock(Path folder) throws IOException {
        FileLock lock = null;
        try {
            lock = lockFile.tryLock();
        } catch (OverlappingFileLockException e) {
            // Another client of this process holds the lock.
        }
        if (lock == null) {
            throw new IOException(folder + " is the storage of another client that runs");
        }
    }

    private void load() throws IOException {
        byte[] bytes = Files.readAllBytes(journal);
        int good = 0;
        for (int begin = 0, end; (end = lineEnd(bytes, begin)) >= 0; begin = end + 1) {
            Map<String, String> changes = record(new String(bytes, begin, end - begin, StandardCharsets.UTF_8));
            if (changes == null) {
                break;
            }
            apply(changes);
            good = end + 1;
        }
        channel.truncate(good);
        channel.position(good);
    }

    private static int lineEnd(byte[] bytes, int begin) {
        for (int i = begin; i < bytes.length; i++) {
            if (bytes[i] == '\n') {
                return i;
            }
        }
        return -1;
    }

    /** The changes of a record, or null when the line is not whole. */
    private static Map<String, String> record(String line) {
        int blank = line.indexOf(' ');
        if (blank < 0 || !line.substring(0, blank).equals(sum(line.substring(blank + 1)))) {
            return null;
        }
        Map<String, String> changes = new HashMap<>();
        Message.map(Json.parse(line.substring(blank + 1))).forEach((key, value) -> changes.put(key, (String) value));
        return changes;
    }

    private static String sum(String text) {
        CRC32 crc = new CRC32();
        crc.update(text.getBytes(StandardCharsets.UTF_8));
        return Long.toHexString(crc.getValue());
    }

    private void apply(Map<String, String> changes) {
        changes.forEach((key, value) -> {
            String before = value == null ? values.remove(key) : values.put(key, value);
            liveBytes += (value == null ? 0 : key.length() + value.length()) - (before == null ? 0 : key.length() + before.length());
        });
    }

    @Override
    public Map<String, String> all() {
        return values;
    }

    @Override
    public void write(Map<String, String> changes) throws IOException {
        long before = channel.position();
        try {
            append(channel, changes);
        } catch (IOException e) { // half a record must not stand before the next one
            channel.truncate(before);
            channel.position(before);
            throw e;
        }
        apply(changes);
        dirty = true;
        if (channel.position() > REWRITE_BYTES + 4 * liveBytes && channel.position() > rewriteAgain) {
            try {
                rewrite();
            } catch (IOException e) { // the old journal holds everything: it grows on, and is tried again later
                rewriteAgain = 2 * channel.position();
            }
        }
    }

    private static void append(FileChannel channel, Map<String, String> changes) throws IOException {
        String json = Json.write(changes);
        ByteBuffer bytes = StandardCharsets.UTF_8.encode(sum(json) + " " + json + "\n");
        while (bytes.hasRemaining()) {
            channel.write(bytes);
        }
    }

    /** The new journal is on the disk before its name replaces the old one: a crash finds the one or the other. */
    private void rewrite() throws IOException {
        Path fresh = journal.resolveSibling("postoffice.journal.new");
        FileChannel next = FileChannel.open(fresh, StandardOpenOption.CREATE, StandardOpenOption.TRUNCATE_EXISTING,
                StandardOpenOption.READ, StandardOpenOption.WRITE);
        try {
            values.forEach((key, value) -> {
                try {
                    append(next, Map.of(key, value));
                } catch (IOException e) {
                    throw new UncheckedIOException(e);
                }
            });
            next.force(true);
            Files.move(fresh, journal, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
            forceFolder();
        } catch (UncheckedIOException e) {
            next.close();
            throw e.getCause();
        } catch (IOException e) {
            next.close();
            throw e;
        }
        channel.close();
        channel = next;
        dirty = false;
    }

    /** The journal's name is on the disk too; where a folder cannot be opened (Windows) the system sees to that. */
    private void forceFolder() {
        try (FileChannel folder = FileChannel.open(journal.toAbsolutePath().getParent(), StandardOpenOption.READ)) {
            folder.force(true);
        } catch (IOException e) {
            // Nothing more can be done.
        }
    }

    @Override
    public void force() throws IOException {
        if (dirty) {
            channel.force(false);
            dirty = false;
        }
    }

    @Override
    public void close() throws IOException {
        if (channel != null) {
            channel.close();
        }
        lockFile.close();
    }
}
