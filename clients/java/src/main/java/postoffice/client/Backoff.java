package postoffice.client;

import java.util.concurrent.ThreadLocalRandom;

/** How long to wait before an attempt: full jitter under a bound that doubles, and never less than the server asked for. */
final class Backoff {
    private static final int DOUBLINGS_MAX = 20;

    private final long minMs;
    private final long maxMs;

    Backoff(long minMs, long maxMs) {
        this.minMs = minMs;
        this.maxMs = Math.max(minMs, maxMs);
    }

    /** The wait before the attempt that follows so many failed ones; `floorMs` is the server's `retryAfter`. */
    long delayMs(int failures, long floorMs) {
        long bound = Math.min(maxMs, minMs << Math.min(failures, DOUBLINGS_MAX));
        return Math.max(0, floorMs) + ThreadLocalRandom.current().nextLong(bound + 1);
    }
}
