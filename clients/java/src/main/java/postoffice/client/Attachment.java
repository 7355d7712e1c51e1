package postoffice.client;

/** A file that goes with a message. */
public final class Attachment {
    private final String name;
    private final String type;
    private final byte[] bytes;

    /**
     * A file to send.
     *
     * @param name the file's name
     * @param type what the file is, {@code image/png} for instance; null is allowed
     * @param bytes the file itself; the array is not copied
     */
    public Attachment(String name, String type, byte[] bytes) {
        this.name = name;
        this.type = type;
        this.bytes = bytes;
    }

    /**
     * The file's name.
     *
     * @return the name, perhaps null
     */
    public String name() {
        return name;
    }

    /**
     * What the file is, {@code image/png} for instance.
     *
     * @return a media type, perhaps null
     */
    public String type() {
        return type;
    }

    /**
     * The file itself.
     *
     * @return the bytes, not a copy
     */
    public byte[] bytes() {
        return bytes;
    }

    @Override
    public String toString() {
        return name + " (" + type + ", " + bytes.length + " bytes)";
    }
}
