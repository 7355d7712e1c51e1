package postoffice.client;

/** Whatever this client cannot do; {@link RejectedException} and {@link ClosedException} say more. */
public class PostOfficeException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** The fault's short name. */
    private final String code;

    PostOfficeException(String code, String message, Throwable cause) {
        super(message, cause);
        this.code = code;
    }

    /**
     * A short name: of the server ({@code forbidden-to}, {@code too-large} …), or of this client ({@code outbox-full},
     * {@code storage}, {@code handler}, {@code token}, {@code protocol}).
     *
     * @return the name
     */
    public String code() {
        return code;
    }
}
