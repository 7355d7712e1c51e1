package postoffice.client;

import java.io.IOException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.Executor;

/** The token in use, how long that is good, and where the next one comes from. Lives on the loop. */
final class Tokens {
    private static final long CLOSE_TO_END_MS = 30_000;

    private final Options options;
    private final Executor loop;
    private final Executor workers;
    private String token;
    private String refused;
    private long endMs = TokenLife.UNKNOWN; // by Loop.nowMs()
    private long lifeMs;

    Tokens(Options options, Executor loop, Executor workers) {
        this.options = options;
        this.loop = loop;
        this.workers = workers;
    }

    /** A token to connect with, on the loop; null when this client has none. Fails when there is none that could be good. */
    CompletableFuture<String> toConnect() {
        boolean lasts = endMs != TokenLife.UNKNOWN && endMs - Loop.nowMs() > Math.min(CLOSE_TO_END_MS, lifeMs / 5);
        return token != null && lasts ? CompletableFuture.completedFuture(token) : fetch();
    }

    /** A new token from the application, on the loop. */
    CompletableFuture<String> fetch() {
        CompletableFuture<String> fetched = new CompletableFuture<>();
        if (options.tokens == null) {
            fetched.complete(null);
            return fetched;
        }
        workers.execute(() -> {
            try {
                CompletionStage<String> stage = options.tokens.get();
                stage.whenComplete((next, failure) -> loop.execute(() -> came(fetched, next, failure)));
            } catch (RuntimeException e) {
                loop.execute(() -> came(fetched, null, e));
            }
        });
        return fetched;
    }

    private void came(CompletableFuture<String> fetched, String next, Throwable failure) {
        if (failure != null) {
            Throwable cause = failure instanceof CompletionException && failure.getCause() != null ? failure.getCause() : failure;
            fetched.completeExceptionally(cause);
        } else if (next == null || next.equals(refused)) {
            fetched.completeExceptionally(new PostOfficeException("token", next == null ? "no token was given"
                    : "the token that the server refused was given again", null));
        } else {
            fetched.complete(next);
        }
    }

    /** Whether another attempt to get a token may succeed: trouble on the road to whoever makes them. */
    static boolean isPassing(Throwable failure) {
        return failure instanceof IOException || failure.getCause() instanceof IOException;
    }

    /** The token is what the session stands on now; `expiresAt` (Unix seconds) is the server's word, 0 when there is none. */
    void use(String next, long expiresAt) {
        token = next;
        lifeMs = next == null ? TokenLife.UNKNOWN : TokenLife.leftMs(next);
        if (lifeMs == TokenLife.UNKNOWN && expiresAt > 0) {
            lifeMs = Math.max(0, expiresAt * 1000 - System.currentTimeMillis());
        }
        endMs = lifeMs == TokenLife.UNKNOWN ? TokenLife.UNKNOWN : Loop.nowMs() + lifeMs;
    }

    /** The server does not take a token: the same one again would be the end. */
    void refuse(String bad) {
        refused = bad;
    }

    /** After how many milliseconds to ask for the next token; UNKNOWN: never. */
    long renewAfterMs() {
        if (options.tokens == null || options.tokensAreOne || endMs == TokenLife.UNKNOWN) {
            return TokenLife.UNKNOWN;
        }
        return Math.max(1000, (endMs - Loop.nowMs()) * 4 / 5);
    }
}
