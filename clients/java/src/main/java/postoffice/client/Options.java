package postoffice.client;

import java.net.URI;
import java.net.http.HttpClient;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.Executor;
import java.util.function.Supplier;

/** What {@link PostOffice.Builder} gathers. Not changed after {@code build()}. */
final class Options implements Cloneable {
    URI url;
    String address;
    String device;
    String since;
    String epoch;
    Supplier<CompletionStage<String>> tokens;
    boolean tokensAreOne; // a fixed token: a refused one cannot be replaced
    Storage storage;
    HttpClient http;
    Executor executor;
    boolean skipFailed;
    boolean ordered = true;
    int ackBatch = 16;
    long ackDelayMs = 200;
    int maxWaiting = 1000;
    int rememberIds = 2000;
    long heartbeatMs = 15_000;
    long heartbeatTimeoutMs = 10_000;
    int outboxMessages = 10_000;
    long outboxBytes = 16 << 20;
    int sendWindow = 32;
    long minBackoffMs = 1000;
    long maxBackoffMs = 60_000;

    Options copy() {
        try {
            return (Options) clone();
        } catch (CloneNotSupportedException e) {
            throw new AssertionError(e);
        }
    }
}
