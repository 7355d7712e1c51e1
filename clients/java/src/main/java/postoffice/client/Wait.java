package postoffice.client;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;

/** The blocking face: waits for a future, and throws what the future failed with. */
final class Wait {
    private Wait() {
    }

    static <T> T on(CompletableFuture<T> future) throws InterruptedException {
        try {
            return future.get();
        } catch (ExecutionException e) {
            throw unchecked(e.getCause());
        }
    }

    /** The answer to a question that the loop answers at once. */
    static <T> T now(CompletableFuture<T> future) {
        try {
            return future.join();
        } catch (CompletionException e) {
            throw e.getCause() instanceof RuntimeException ? (RuntimeException) e.getCause() : e;
        }
    }

    /** An exception of this package as it is, with the caller's own stack beside its own; any other one wrapped. */
    static PostOfficeException unchecked(Throwable cause) {
        if (cause instanceof PostOfficeException) {
            cause.addSuppressed(new Throwable("the caller that waited"));
            return (PostOfficeException) cause;
        }
        return new PostOfficeException("internal", String.valueOf(cause), cause);
    }
}
