package postoffice.client;

/** Where a client stands. */
public enum State {
    /** {@code connect()} has not been called. */
    IDLE,
    /** A connection is being made, or its {@code welcome} is awaited. */
    CONNECTING,
    /** Messages go both ways. */
    OPEN,
    /** The connection is lost; the next attempt comes by itself. */
    WAITING,
    /** Ended for good, by {@code close()} or by the server. */
    CLOSED
}
