package postoffice.client;

/** The client is closed, by {@code close()} or by the server: what was asked is not done. */
public final class ClosedException extends PostOfficeException {
    private static final long serialVersionUID = 1L;

    /** The close code. */
    private final int closeCode;
    /** Why, in words. */
    private final String reason;

    ClosedException(int closeCode, String reason) {
        super("closed", "closed: " + closeCode + (reason.isEmpty() ? "" : " " + reason), null);
        this.closeCode = closeCode;
        this.reason = reason;
    }

    /**
     * Why: a close code of docs/protocol.md, section 7. A refusal by an HTTP status has the code that stands in its place
     * (4400, 4401, 4403, 4404); 1000 is the client's own {@code close()}.
     *
     * @return the code
     */
    public int closeCode() {
        return closeCode;
    }

    /**
     * Why, in words of the server or the system.
     *
     * @return the reason, perhaps empty
     */
    public String reason() {
        return reason;
    }
}
