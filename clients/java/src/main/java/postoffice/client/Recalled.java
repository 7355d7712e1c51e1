package postoffice.client;

/** The sender of a mail takes the mail back: whoever shows it hides it. */
public final class Recalled {
    private final String from;
    private final String id;

    Recalled(String from, String id) {
        this.from = from;
        this.id = id;
    }

    /**
     * The sender.
     *
     * @return an address
     */
    public String from() {
        return from;
    }

    /**
     * The id of the mail.
     *
     * @return the id
     */
    public String id() {
        return id;
    }

    @Override
    public String toString() {
        return from + " " + id;
    }
}
