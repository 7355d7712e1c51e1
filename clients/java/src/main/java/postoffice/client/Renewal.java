package postoffice.client;

import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;

/** Brings the server a new token before the running one ends, so that the session goes on. Lives on the loop. */
final class Renewal {
    private final Engine engine;
    private final Tokens tokens;
    private Future<?> planned;
    private int session; // counts; an answer to an earlier session is of no interest

    Renewal(Engine engine, Tokens tokens) {
        this.engine = engine;
        this.tokens = tokens;
    }

    /** A session stands on this token. */
    void begin(String token) {
        session++;
        tokens.use(token, 0);
        plan();
    }

    void end() {
        session++;
        Loop.cancel(planned);
    }

    private void plan() {
        Loop.cancel(planned);
        long after = tokens.renewAfterMs();
        if (after != TokenLife.UNKNOWN) {
            planned = engine.loop.after(after, this::renew);
        }
    }

    private void renew() {
        int of = session;
        tokens.fetch().thenCompose(token -> {
            CompletableFuture<Map<String, Object>> answer = engine.commands.runNow("renew", Map.of("token", token));
            return answer.thenAccept(result -> renewed(of, token, result));
        }).whenComplete((done, failure) -> {
            if (of != session) {
                return;
            }
            if (failure != null) {
                engine.events.error(new PostOfficeException("token", "the token could not be renewed: " + failure.getMessage(), failure));
            }
            plan();
        });
    }

    private void renewed(int of, String token, Map<String, Object> result) {
        if (of == session) {
            Object expiresAt = result.get("expiresAt");
            tokens.use(token, expiresAt instanceof Number ? ((Number) expiresAt).longValue() : 0);
            engine.subscriptions.lost(Message.texts(result.get("unsubscribed")));
        }
    }
}
