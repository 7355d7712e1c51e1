package postoffice.client;

/** Where a group's log stands. */
public final class Subscription {
    private final String group;
    private final String seq;
    private final String cursor;
    private final boolean recovered;

    Subscription(String group, String seq, String cursor, boolean recovered) {
        this.group = group;
        this.seq = seq;
        this.cursor = cursor;
        this.recovered = recovered;
    }

    /**
     * The group.
     *
     * @return its address
     */
    public String group() {
        return group;
    }

    /**
     * The newest post in the log.
     *
     * @return a place
     */
    public String seq() {
        return seq;
    }

    /**
     * The replay begins behind this place.
     *
     * @return a place
     */
    public String cursor() {
        return cursor;
    }

    /**
     * Whether nothing is missing behind that place.
     *
     * @return false when posts are missing
     */
    public boolean recovered() {
        return recovered;
    }

    @Override
    public String toString() {
        return group + " " + seq + " " + cursor + " " + recovered;
    }
}
