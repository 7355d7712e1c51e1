package postoffice.client;

/** What a worker of a service address does with a request. */
@FunctionalInterface
public interface ServiceHandler {
    /**
     * Handles a request and says what the answer is. The answer is sent to the sender with {@code inReplyTo}; the request is
     * acknowledged when the answer is accepted. A request that comes again after a crash has an answer with the same id.
     *
     * @param request any message to the service
     * @return null for no answer, text, bytes, a {@link Letter}, or a map, list, number or boolean for JSON
     * @throws Exception when the request could not be handled; {@link PostOffice.Builder#skipFailed} says what happens then
     */
    Object handle(Message request) throws Exception;
}
