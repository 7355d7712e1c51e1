package postoffice.client;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;

/**
 * Messages from their coming until they are handled: each once, in order, so many at a time as the application wants.
 *
 * <p>Past {@code maxWaiting} nothing more is read, unless somebody waits for an answer: answers come behind mail. Then all that is
 * stored is let go, and comes again on a new connection when half of what waits is handled.
 *
 * <p>A message that comes again while the first is still here, on a new connection for instance, only gets another slot to
 * acknowledge. Lives on the loop; the application's code runs on the workers.
 */
final class Inbox {
    /** A message that is here, and its slots in the present connection. */
    private static final class Entry {
        final Message message;
        final List<Acks.Slot> slots = new ArrayList<>();

        Entry(Message message) {
            this.message = message;
        }
    }

    private final Engine engine;
    private final Map<String, Entry> here = new HashMap<>();
    private final Deque<Entry> waiting = new ArrayDeque<>();
    private final Deque<CompletableFuture<Message>> takers = new ArrayDeque<>();
    private Entry taken; // by an iterator
    private Handler handler;
    private boolean iterated;
    private int concurrency;
    private int running;
    private int telling; // signals and receipts that wait for the thread of events
    private boolean stopped;
    private boolean lettingGo; // stored messages, because too many wait
    private int failures; // in a row
    private long handled;

    Inbox(Engine engine) {
        this.engine = engine;
    }

    void handle(Handler by, int atOnce) {
        claim();
        handler = by;
        concurrency = atOnce;
        give();
    }

    private void claim() {
        if (handler != null || iterated) {
            throw new IllegalStateException("messages have one handler, or one iterator");
        }
    }

    void iterate() {
        claim();
        iterated = true;
    }

    /** Completes `next` with the next message for an iterator; the one before counts as handled. Null: the client is closed. */
    void take(CompletableFuture<Message> next) {
        if (engine.isClosed()) {
            engine.settle(next, null);
            return;
        }
        if (taken != null) {
            running--;
            settle(taken);
            taken = null;
            engine.readOn();
        }
        takers.add(next);
        give();
        engine.handlerEnded();
    }

    // Coming.

    /** `comesAgain`: the message is stored, and comes on a later connection when this one does not acknowledge. */
    void arrived(Message message, boolean comesAgain) {
        Entry entry = new Entry(message);
        boolean answer = engine.answersRequest(message);
        if (comesAgain && !answer && (stopped || lettingGo || isFull() && !isHere(message))) {
            lettingGo |= !stopped;
            return;
        }
        if (comesAgain && !lettingGo) { // behind what was let go nothing can be acknowledged
            entry.slots.add(engine.acks.arrived(message.group(), message.seq()));
        }
        Entry same = here.get(message.key());
        if (engine.keeper.remembers(message)) {
            entry.slots.forEach(engine.acks::handled);
        } else if (same != null) {
            same.slots.addAll(entry.slots);
        } else if (answer) {
            settle(entry);
        } else if (message.type() == Message.CONTROL) {
            here.put(message.key(), entry);
            telling++;
            engine.tellReceipt(message, () -> told(entry));
        } else {
            here.put(message.key(), entry);
            waiting.add(entry);
            give();
        }
    }

    private boolean isHere(Message message) {
        return here.containsKey(message.key()) || engine.keeper.remembers(message);
    }

    boolean isFull() {
        return waiting.size() + telling >= engine.options.maxWaiting;
    }

    boolean isConsumed() {
        return handler != null || iterated;
    }

    private void told(Entry entry) {
        telling--;
        settle(entry);
        engine.readOn();
        engine.handlerEnded();
    }

    void signalled(Message signal) {
        if (telling >= engine.options.maxWaiting) {
            return; // a signal is forgotten where nobody takes it
        }
        telling++;
        engine.tellSignal(signal, () -> {
            telling--;
            engine.readOn();
        });
    }

    // Handling.

    private void give() {
        while (!stopped && !waiting.isEmpty() && (iterated ? !takers.isEmpty() : running < concurrency)) {
            Entry entry = waiting.remove();
            running++;
            if (iterated) {
                taken = entry;
                engine.settle(takers.remove(), entry.message);
            } else {
                engine.work(() -> run(entry));
            }
        }
        if (lettingGo && isConsumed() && waiting.size() <= engine.options.maxWaiting / 2) {
            engine.startOver(0);
        }
    }

    private void run(Entry entry) {
        Throwable failure = null;
        try {
            handler.handle(entry.message);
        } catch (Throwable e) {
            failure = e;
            if (e instanceof InterruptedException) {
                Thread.currentThread().interrupt();
            }
        }
        Throwable why = failure;
        engine.loop.execute(() -> ran(entry, why));
    }

    private void ran(Entry entry, Throwable failure) {
        running--;
        if (failure != null) {
            engine.events.error(new PostOfficeException("handler", "a handler failed: " + failure, failure));
        }
        if (failure == null || engine.options.skipFailed) {
            failures = failure == null ? 0 : failures;
            settle(entry);
            give();
        } else {
            stop(entry);
        }
        engine.readOn();
        engine.handlerEnded();
    }

    /** The failed message, and all that wait behind, come again on the next connection. */
    private void stop(Entry failed) {
        here.remove(failed.message.key());
        if (failed.slots.isEmpty()) { // not stored: nobody would send the message again
            here.put(failed.message.key(), failed);
            waiting.addFirst(failed);
        }
        stopped = true;
        forgetWaiting();
        engine.startOverAfter(failures++);
    }

    private void forgetWaiting() {
        for (Iterator<Entry> each = waiting.iterator(); each.hasNext();) {
            Entry entry = each.next();
            if (entry.message.seq() != null) {
                here.remove(entry.message.key());
                each.remove();
            }
        }
    }

    private void settle(Entry entry) {
        handled++;
        here.remove(entry.message.key());
        engine.keeper.remember(entry.message);
        entry.slots.forEach(engine.acks::handled);
    }

    // The connection.

    /** What waits stays and is not handled twice; but a service's messages go to its other workers. */
    void linkLost(boolean service) {
        here.values().forEach(entry -> entry.slots.clear());
        if (service || stopped) {
            forgetWaiting();
        }
    }

    void linkOpened() {
        stopped = false;
        lettingGo = false;
        give();
    }

    int waiting() {
        return waiting.size() + telling;
    }

    long handled() {
        return handled;
    }

    boolean isIdle() {
        return running == 0 && telling == 0 || running == 1 && taken != null;
    }

    /** No more messages are given out. */
    void stop() {
        stopped = true;
    }

    void end() {
        stopped = true;
        takers.forEach(taker -> engine.settle(taker, null));
        takers.clear();
    }
}
