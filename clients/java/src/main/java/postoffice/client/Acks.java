package postoffice.client;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Future;

/**
 * What this connection was sent and what of that is handled. An acknowledgement covers all that came up to a message, in the
 * order of coming; so only the newest message behind which nothing is unhandled is acknowledged. Lives on the loop.
 */
final class Acks {
    /** A message's place in what this connection was sent. */
    static final class Slot {
        private final Log log;
        private final String seq;
        private boolean handled;

        Slot(Log log, String seq) {
            this.log = log;
            this.seq = seq;
        }
    }

    private static final class Log {
        final String name; // null: the own mailbox
        final Deque<Slot> slots = new ArrayDeque<>();
        String due; // handled, and not acknowledged yet
        int dueCount;

        Log(String name) {
            this.name = name;
        }
    }

    private final Engine engine;
    private final Map<String, Log> logs = new LinkedHashMap<>();
    private Future<?> timer;
    private int unanswered;
    private int generation; // of the connection

    Acks(Engine engine) {
        this.engine = engine;
    }

    Slot arrived(String log, String seq) {
        Log of = logs.computeIfAbsent(log == null ? "" : log, name -> new Log(log));
        Slot slot = new Slot(of, seq);
        of.slots.add(slot);
        return slot;
    }

    void handled(Slot slot) {
        slot.handled = true;
        Log log = slot.log;
        while (!log.slots.isEmpty() && log.slots.peek().handled) {
            log.due = log.slots.remove().seq;
            log.dueCount++;
        }
        if (log.due == null || logs.get(log.name == null ? "" : log.name) != log) { // the log of an earlier connection
            return;
        }
        if (log.dueCount >= engine.options.ackBatch) {
            flush(log);
        } else if (timer == null) {
            timer = engine.loop.after(engine.options.ackDelayMs, () -> {
                timer = null;
                flush();
            });
        }
    }

    void flush() {
        logs.values().forEach(this::flush);
    }

    private void flush(Log log) {
        if (log.due == null || !engine.isOpen()) {
            return;
        }
        engine.keeper.force();
        String seq = log.due;
        log.due = null;
        log.dueCount = 0;
        unanswered++;
        int of = generation;
        engine.ack(log.name, seq).whenComplete((result, failure) -> {
            if (of == generation) {
                unanswered--;
                answered(log, seq, result, failure);
            }
        });
    }

    private void answered(Log log, String seq, Map<String, Object> result, Throwable failure) {
        if (failure == null) {
            engine.acknowledged(new Acknowledged(log.name, seq, String.valueOf(result.get("cursor"))));
        } else if (!(failure instanceof Commands.LinkLost) && engine.isOpen()) {
            engine.events.error((PostOfficeException) failure);
        }
        engine.closeIfDone();
    }

    /** A group that the session left: its posts cannot be acknowledged any more. */
    void forget(String log) {
        logs.remove(log);
    }

    boolean isSettled() {
        return unanswered == 0 && logs.values().stream().allMatch(log -> log.due == null);
    }

    /** Places count within a connection alone: what was not acknowledged comes again. */
    void linkLost() {
        logs.clear();
        unanswered = 0;
        generation++;
    }
}
