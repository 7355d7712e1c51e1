package postoffice.client;

import java.util.concurrent.Future;

/** Asks for a sign of life after a silence, and drops the connection when none comes. Lives on the loop. */
final class Heartbeat {
    private final Engine engine;
    private final long silenceMs;
    private final long timeoutMs;
    private Link link;
    private long openedMs;
    private long heardMs;
    private long pingedMs; // 0: no answer is awaited
    private Future<?> next;

    Heartbeat(Engine engine) {
        this.engine = engine;
        silenceMs = engine.options.heartbeatMs;
        timeoutMs = engine.options.heartbeatTimeoutMs;
    }

    void begin(Link of) {
        end();
        link = of;
        openedMs = Loop.nowMs();
        heard();
        next = engine.loop.after(silenceMs, this::beat);
    }

    void heard() {
        heardMs = Loop.nowMs();
        pingedMs = 0;
    }

    void end() {
        Loop.cancel(next);
        link = null;
    }

    private void beat() {
        if (link == null) {
            return;
        }
        long now = Loop.nowMs();
        if (!engine.isOpen() && now - openedMs >= silenceMs + timeoutMs) { // pongs alone are no session
            link.fail("no welcome for " + (now - openedMs) + " ms");
        } else if (engine.isPaused()) { // nothing is read, a pong neither: only the server can be told of life
            link.pong();
            heard();
            again(silenceMs);
        } else if (pingedMs == 0 && now - heardMs < silenceMs) {
            again(silenceMs - (now - heardMs));
        } else if (pingedMs == 0) {
            pingedMs = now;
            link.ping();
            again(timeoutMs);
        } else if (now - pingedMs < timeoutMs) {
            again(timeoutMs - (now - pingedMs));
        } else {
            link.fail("no sign of life for " + (now - heardMs) + " ms");
        }
    }

    private void again(long afterMs) {
        next = engine.loop.after(afterMs, this::beat);
    }
}
