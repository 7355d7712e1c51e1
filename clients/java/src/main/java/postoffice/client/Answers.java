package postoffice.client;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/** The service mode: a handler whose result is sent as the answer before the request counts as handled. */
final class Answers implements Handler {
    private static final int ID_BYTES = 20;

    private final Engine engine;
    private final ServiceHandler service;

    Answers(Engine engine, ServiceHandler service) {
        this.engine = engine;
        this.service = service;
    }

    @Override
    public void handle(Message request) throws Exception {
        Object answer = service.handle(request);
        if (answer == null) {
            return;
        }
        Letter letter = request.addressed(letter(answer), request.from());
        if (!letter.has("id")) {
            letter.id(id(request));
        }
        try {
            Wait.on(engine.send(letter, Message.MAIL));
        } catch (RejectedException e) { // whoever asked cannot be answered: asking the handler again would change nothing
            engine.events.error(e);
        }
    }

    private static Letter letter(Object answer) {
        if (answer instanceof Letter) {
            return (Letter) answer;
        }
        if (answer instanceof CharSequence) {
            return new Letter().text(answer.toString());
        }
        return answer instanceof byte[] ? new Letter().bytes((byte[]) answer) : new Letter().json(answer);
    }

    /** The same request has the same answer's id, whichever process answers; ids are unique for each sender only. */
    private static String id(Message request) {
        try {
            byte[] hash = MessageDigest.getInstance("SHA-256").digest(request.key().getBytes(StandardCharsets.UTF_8));
            StringBuilder id = new StringBuilder("re:");
            for (int i = 0; i < ID_BYTES; i++) {
                id.append(String.format("%02x", hash[i]));
            }
            return id.toString();
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e); // every JVM has SHA-256
        }
    }
}
