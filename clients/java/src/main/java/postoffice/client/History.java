package postoffice.client;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.concurrent.CompletableFuture;

/** Stored messages, page by page: the next page is asked for when the one before has been read. */
final class History implements Iterable<Message> {
    private static final long AGAIN_MS = 500; // after the server's storage went away in the middle

    private final Engine engine;
    private final HistoryQuery query;

    History(Engine engine, HistoryQuery query) {
        this.engine = engine;
        this.query = query;
    }

    /** On any thread; settles on the loop. */
    static CompletableFuture<HistoryPage> page(Engine engine, HistoryQuery query) {
        CompletableFuture<HistoryPage> page = new CompletableFuture<>();
        engine.loop.execute(() -> ask(engine, query, page));
        return page;
    }

    private static void ask(Engine engine, HistoryQuery query, CompletableFuture<HistoryPage> page) {
        if (engine.isClosed()) {
            page.completeExceptionally(engine.closed());
            return;
        }
        engine.commands.run("history", query.fields(), false).whenComplete((result, failure) -> {
            if (failure != null) {
                page.completeExceptionally(failure);
            } else if (result.containsKey("code")) {
                engine.loop.after(AGAIN_MS, () -> ask(engine, query, page));
            } else {
                page.complete(read(engine, query, result));
            }
        });
    }

    private static HistoryPage read(Engine engine, HistoryQuery query, Map<String, Object> result) {
        List<Message> messages = new ArrayList<>();
        for (Object each : Message.list(result.get("messages"))) {
            messages.add(new Message(engine, Message.map(each), engine.address()));
        }
        boolean more = Boolean.TRUE.equals(result.get("more")) && result.get("references") instanceof String;
        return new HistoryPage(messages, more ? query.next((String) result.get("references")) : null);
    }

    @Override
    public Iterator<Message> iterator() {
        return new Iterator<>() {
            private HistoryQuery next = query;
            private Iterator<Message> page = List.<Message>of().iterator();

            @Override
            public boolean hasNext() {
                while (!page.hasNext() && next != null) {
                    try {
                        HistoryPage read = Wait.on(engine.hand(page(engine, next)));
                        page = read.messages().iterator();
                        next = read.next();
                    } catch (InterruptedException e) {
                        Thread.currentThread().interrupt();
                        throw new PostOfficeException("interrupted", "interrupted while reading history", e);
                    }
                }
                return page.hasNext();
            }

            @Override
            public Message next() {
                if (!hasNext()) {
                    throw new NoSuchElementException();
                }
                return page.next();
            }
        };
    }
}
