package postoffice.client;

/** A recipient that a message did not reach, and why. */
public final class Refusal {
    private final String address;
    private final String code;

    Refusal(String address, String code) {
        this.address = address;
        this.code = code;
    }

    /**
     * The recipient.
     *
     * @return its address
     */
    public String address() {
        return address;
    }

    /**
     * Why: {@code storage-unavailable}, {@code mailbox-full}, {@code not-found} or, of a recall, {@code delivered}.
     *
     * @return the code
     */
    public String code() {
        return code;
    }

    @Override
    public String toString() {
        return address + " " + code;
    }
}
