package postoffice.client;

import java.time.Instant;

/** A new {@link State}, and why. */
public final class StateChange {
    private final State state;
    private final int code;
    private final String reason;
    private final Instant until;

    StateChange(State state, int code, String reason, Instant until) {
        this.state = state;
        this.code = code;
        this.reason = reason;
        this.until = until;
    }

    /**
     * Where the client stands now.
     *
     * @return the state
     */
    public State state() {
        return state;
    }

    /**
     * The close code that led here (docs/protocol.md, section 7); 1006 when the connection broke, 0 when there is none.
     *
     * @return the code
     */
    public int code() {
        return code;
    }

    /**
     * What the server or the system said, in words.
     *
     * @return the reason, perhaps empty
     */
    public String reason() {
        return reason;
    }

    /**
     * Of {@link State#WAITING}: when the next attempt begins.
     *
     * @return that time, or null in every other state
     */
    public Instant until() {
        return until;
    }

    @Override
    public String toString() {
        return state + (code == 0 ? "" : " " + code) + (reason.isEmpty() ? "" : " " + reason);
    }
}
