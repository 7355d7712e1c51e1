package postoffice.client;

/** Messages are missing: retention took them, or the server's storage lost data. */
public final class Gap {
    private final String log;
    private final boolean epochChanged;

    Gap(String log, boolean epochChanged) {
        this.log = log;
        this.epochChanged = epochChanged;
    }

    /**
     * Where: null is the own mailbox, else a group.
     *
     * @return null or a group
     */
    public String log() {
        return log;
    }

    /**
     * Whether the storage lost its data; every earlier position is void then.
     *
     * @return true when the data are new
     */
    public boolean epochChanged() {
        return epochChanged;
    }

    @Override
    public String toString() {
        return log + " " + epochChanged;
    }
}
