package postoffice.client;

/** Numbers of a client, for a monitor. */
public final class Stats {
    private final State state;
    private final int outbox;
    private final int waiting;
    private final long handled;
    private final String acknowledged;
    private final int attempts;

    Stats(State state, int outbox, int waiting, long handled, String acknowledged, int attempts) {
        this.state = state;
        this.outbox = outbox;
        this.waiting = waiting;
        this.handled = handled;
        this.acknowledged = acknowledged;
        this.attempts = attempts;
    }

    /**
     * Where the client stands.
     *
     * @return the state
     */
    public State state() {
        return state;
    }

    /**
     * Messages that have no answer yet.
     *
     * @return a count
     */
    public int outbox() {
        return outbox;
    }

    /**
     * Messages that were received and no handler has begun.
     *
     * @return a count
     */
    public int waiting() {
        return waiting;
    }

    /**
     * Messages whose handler has returned.
     *
     * @return a count
     */
    public long handled() {
        return handled;
    }

    /**
     * The newest place of the own mailbox that is acknowledged.
     *
     * @return a place, or null
     */
    public String acknowledged() {
        return acknowledged;
    }

    /**
     * Attempts to connect since the last session that stood.
     *
     * @return a count
     */
    public int attempts() {
        return attempts;
    }

    @Override
    public String toString() {
        return state + " " + outbox + " " + waiting + " " + handled + " " + acknowledged + " " + attempts;
    }
}
