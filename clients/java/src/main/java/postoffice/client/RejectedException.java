package postoffice.client;

import java.util.List;

/** The server's {@code rejected} that waiting does not mend: nobody got the message, or the command was not carried out. */
public final class RejectedException extends PostOfficeException {
    private static final long serialVersionUID = 1L;

    /** The message's id. */
    private final String id;
    /** The field at fault. */
    private final String field;
    /** Who was tried. */
    private final transient List<Refusal> refused;

    RejectedException(String code, String message, String field, String id, List<Refusal> refused) {
        super(code, message, null);
        this.field = field;
        this.id = id;
        this.refused = refused;
    }

    /**
     * The message's or command's id.
     *
     * @return the id
     */
    public String id() {
        return id;
    }

    /**
     * The field at fault.
     *
     * @return its name, or null
     */
    public String field() {
        return field;
    }

    /**
     * The recipients that were tried, and why each was not served.
     *
     * @return a list, empty when nobody was tried
     */
    public List<Refusal> refused() {
        return refused == null ? List.of() : refused;
    }
}
