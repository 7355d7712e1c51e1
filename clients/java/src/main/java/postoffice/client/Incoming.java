package postoffice.client;

import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.concurrent.CompletableFuture;

/** Messages for a loop of the application's: each counts as handled when the next one is asked for. For one thread. */
final class Incoming implements Iterable<Message>, Iterator<Message> {
    private final Engine engine;
    private Message next;
    private boolean over;

    Incoming(Engine engine) {
        this.engine = engine;
    }

    @Override
    public Iterator<Message> iterator() {
        return this;
    }

    @Override
    public boolean hasNext() {
        if (next == null && !over) {
            CompletableFuture<Message> taken = new CompletableFuture<>();
            engine.loop.execute(() -> engine.inbox.take(taken));
            try {
                next = Wait.on(taken);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            over = next == null;
        }
        return next != null;
    }

    @Override
    public Message next() {
        if (!hasNext()) {
            throw new NoSuchElementException();
        }
        Message message = next;
        next = null;
        return message;
    }
}
