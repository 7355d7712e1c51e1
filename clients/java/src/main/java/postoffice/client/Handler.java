package postoffice.client;

/** What an application does with a message. */
@FunctionalInterface
public interface Handler {
    /**
     * Handles a message. When this method returns the message is handled: it is remembered, and acknowledged soon.
     *
     * @param message mail or a post
     * @throws Exception when the message could not be handled; {@link PostOffice.Builder#skipFailed} says what happens then
     */
    void handle(Message message) throws Exception;
}
