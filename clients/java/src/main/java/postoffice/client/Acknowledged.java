package postoffice.client;

/** An acknowledgement that the server has taken. */
public final class Acknowledged {
    private final String log;
    private final String seq;
    private final String cursor;

    Acknowledged(String log, String seq, String cursor) {
        this.log = log;
        this.seq = seq;
        this.cursor = cursor;
    }

    /**
     * Of what: null is the own mailbox, else a group.
     *
     * @return null or a group
     */
    public String log() {
        return log;
    }

    /**
     * The newest message that this acknowledgement names.
     *
     * @return a place
     */
    public String seq() {
        return seq;
    }

    /**
     * Up to where all is acknowledged now.
     *
     * @return a place
     */
    public String cursor() {
        return cursor;
    }

    @Override
    public String toString() {
        return log + " " + seq + " " + cursor;
    }
}
