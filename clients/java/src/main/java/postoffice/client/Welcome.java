package postoffice.client;

import java.util.Map;

/** How a session stands when it begins, or starts anew. */
public final class Welcome {
    private final Map<String, Object> fields;

    Welcome(Map<String, Object> fields) {
        this.fields = fields;
    }

    /**
     * Everything that the server said.
     *
     * @return fields of docs/protocol.md, section 4
     */
    public Map<String, Object> fields() {
        return fields;
    }

    private String text(String name) {
        Object value = fields.get(name);
        return value instanceof String ? (String) value : "";
    }

    /**
     * The session's name in the server.
     *
     * @return a name
     */
    public String session() {
        return text("session");
    }

    /**
     * The address that the session speaks for.
     *
     * @return an address
     */
    public String address() {
        return text("address");
    }

    /**
     * The device of the session.
     *
     * @return a device, perhaps empty
     */
    public String device() {
        return text("device");
    }

    /**
     * The newest message in the mailbox.
     *
     * @return a place
     */
    public String seq() {
        return text("seq");
    }

    /**
     * The replay begins behind this place.
     *
     * @return a place
     */
    public String cursor() {
        return text("cursor");
    }

    /**
     * The name of the stored data.
     *
     * @return a name; empty while the server can store nothing
     */
    public String epoch() {
        return text("epoch");
    }

    /**
     * Whether nothing is missing.
     *
     * @return false when messages are missing
     */
    public boolean recovered() {
        return !Boolean.FALSE.equals(fields.get("recovered"));
    }

    /**
     * Whether this is a service address.
     *
     * @return true of a service address
     */
    public boolean service() {
        return Boolean.TRUE.equals(fields.get("service"));
    }

    /**
     * The largest message that the server takes.
     *
     * @return bytes, or 0 when the server does not say
     */
    public long messageBytes() {
        Object bytes = Message.map(fields.get("limits")).get("messageBytes");
        return bytes instanceof Number ? ((Number) bytes).longValue() : 0;
    }

    @Override
    public String toString() {
        return "welcome " + address() + " at " + cursor();
    }
}
