package postoffice.client;

/** What became of a message that this client sent. */
public final class Receipt {
    private final String id;
    private final String from;
    private final int state;

    Receipt(String id, String from, int state) {
        this.id = id;
        this.from = from;
        this.state = state;
    }

    /**
     * The id of the message.
     *
     * @return the id
     */
    public String id() {
        return id;
    }

    /**
     * The recipient whose word this is.
     *
     * @return an address
     */
    public String from() {
        return from;
    }

    /**
     * 2 delivered, 3 read, 4 recalled, 5 expired.
     *
     * @return the state
     */
    public int state() {
        return state;
    }

    @Override
    public String toString() {
        return id + " " + from + " " + state;
    }
}
