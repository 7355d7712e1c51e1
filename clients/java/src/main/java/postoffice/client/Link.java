package postoffice.client;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpResponse;
import java.net.http.WebSocket;
import java.net.http.WebSocketHandshakeException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.Executor;

/**
 * One WebSocket connection, from the handshake to the end.
 *
 * <p>The owner is called on the loop alone, and told of the end once. java.net.http asks for care: one text is sent at a time;
 * every frame, a pong or a close frame too, comes only when it was requested, so exactly one request is open unless the owner
 * holds back {@link #more}; and a text comes in pieces.
 */
final class Link implements WebSocket.Listener {
    /** What a connection tells. */
    interface Owner {
        void linkOpened(Link link);

        /** A message; the owner calls {@link #more} when the next one may come. */
        void linkSaid(Link link, String text);

        void linkPonged(Link link);

        void linkEnded(Link link, End end);
    }

    /** How a connection ended: by a close code, or before it began by an HTTP status (else 0). */
    static final class End {
        final int code;
        final String reason;
        final int status;
        final long retryAfterMs;

        End(int code, String reason, int status, long retryAfterMs) {
            this.code = code;
            this.reason = reason;
            this.status = status;
            this.retryAfterMs = retryAfterMs;
        }
    }

    private final Executor loop;
    private final Owner owner;
    private final StringBuilder text = new StringBuilder(); // the listener's alone
    private final Queue<String> waiting = new ArrayDeque<>();
    private WebSocket socket;
    private boolean sending;
    private boolean closing;
    private boolean ended;
    private volatile long waitingChars;

    Link(Executor loop, Owner owner) {
        this.loop = loop;
        this.owner = owner;
    }

    void open(HttpClient http, URI url, Map<String, String> headers, Duration timeout) {
        WebSocket.Builder builder = http.newWebSocketBuilder().connectTimeout(timeout).subprotocols("postoffice.v1");
        headers.forEach(builder::header);
        builder.buildAsync(url, this).whenComplete((opened, failure) -> {
            if (failure != null) {
                loop.execute(() -> end(refusal(failure)));
            }
        });
    }

    private static End refusal(Throwable failure) {
        Throwable cause = failure;
        while (cause.getCause() != null && !(cause instanceof WebSocketHandshakeException)) {
            cause = cause.getCause();
        }
        if (!(cause instanceof WebSocketHandshakeException)) {
            return new End(Codes.BROKEN, String.valueOf(cause), 0, 0);
        }
        HttpResponse<?> response = ((WebSocketHandshakeException) cause).getResponse();
        long retryAfterMs = 0;
        try {
            retryAfterMs = 1000 * Long.parseLong(response.headers().firstValue("Retry-After").orElse("0").trim());
        } catch (NumberFormatException e) {
            // A date: the usual back-off does.
        }
        int status = response.statusCode();
        String why = response.headers().firstValue("WWW-Authenticate").map(value -> ": " + value).orElse("");
        return new End(Codes.ofStatus(status), "HTTP " + status + why, status, retryAfterMs);
    }

    private void end(End end) {
        if (!ended) {
            ended = true;
            waiting.clear();
            owner.linkEnded(this, end);
        }
    }

    // What the owner does, on the loop.

    /** Characters that wait for the socket. */
    long waitingChars() {
        return waitingChars;
    }

    void send(String message) {
        waiting.add(message);
        waitingChars += message.length();
        sendNext();
    }

    private void sendNext() {
        if (sending || ended || waiting.isEmpty()) {
            return;
        }
        sending = true;
        String message = waiting.remove();
        waitingChars -= message.length();
        socket.sendText(message, true).whenComplete((done, failure) -> loop.execute(() -> {
            sending = false;
            if (failure != null) {
                fail(String.valueOf(failure));
            } else {
                sendNext();
            }
        }));
    }

    /** The next message may come. */
    void more() {
        if (!ended) {
            socket.request(1);
        }
    }

    void ping() {
        socket.sendPing(ByteBuffer.allocate(0));
    }

    /** A sign of life while nothing is read: then no ping of the server is seen, and none is answered. */
    void pong() {
        socket.sendPong(ByteBuffer.allocate(0));
    }

    /** Begins the closing handshake, behind what waits in the socket. The server's close frame ends the connection. */
    void close() {
        if (socket != null && !ended && !closing) {
            closing = true;
            socket.sendClose(Codes.NORMAL, "").exceptionally(failure -> null);
            socket.request(1); // the server's close frame has to be asked for as well
        }
    }

    /** Drops the connection; nothing more is told but its end. */
    void fail(String reason) {
        end(new End(Codes.BROKEN, reason, 0, 0));
        if (socket != null) {
            socket.abort();
        }
    }

    // What the socket tells, on a thread of its own, one call at a time.

    @Override
    public void onOpen(WebSocket opened) {
        loop.execute(() -> {
            socket = opened;
            if (ended) {
                opened.abort();
                return;
            }
            opened.request(1);
            owner.linkOpened(this);
        });
    }

    @Override
    public CompletionStage<?> onText(WebSocket from, CharSequence piece, boolean last) {
        text.append(piece);
        if (!last) {
            from.request(1);
            return null;
        }
        String message = text.toString();
        text.setLength(0);
        if (text.capacity() > 1 << 16) { // one large message must not hold its room for ever
            text.trimToSize();
        }
        loop.execute(() -> {
            if (!ended) {
                owner.linkSaid(this, message);
            }
        });
        return null;
    }

    @Override
    public CompletionStage<?> onBinary(WebSocket from, ByteBuffer data, boolean last) {
        return onText(from, StandardCharsets.ISO_8859_1.decode(data), last); // the server sends none: this is no JSON
    }

    @Override
    public CompletionStage<?> onPing(WebSocket from, ByteBuffer data) {
        return onPong(from, data); // the socket answers by itself; a ping is a sign of life too
    }

    @Override
    public CompletionStage<?> onPong(WebSocket from, ByteBuffer data) {
        from.request(1);
        loop.execute(() -> {
            if (!ended) {
                owner.linkPonged(this);
            }
        });
        return null;
    }

    @Override
    public CompletionStage<?> onClose(WebSocket from, int code, String reason) {
        loop.execute(() -> end(new End(code, reason, 0, 0)));
        return null;
    }

    @Override
    public void onError(WebSocket from, Throwable error) {
        loop.execute(() -> end(new End(Codes.BROKEN, String.valueOf(error), 0, 0)));
    }
}
