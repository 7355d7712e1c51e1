// java.net.http, of the JDK alone: no JSON library, so the few members that matter are found by regular expressions.
// It knows no compression. javax.net.ssl.trustStore names the certificate to trust.

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

public class Java {
    static final LinkedBlockingQueue<String> inbox = new LinkedBlockingQueue<>();
    static final CompletableFuture<Integer> closed = new CompletableFuture<>();

    static class Listener implements WebSocket.Listener {
        final StringBuilder text = new StringBuilder();

        public CompletionStage<?> onText(WebSocket socket, CharSequence data, boolean last) {
            text.append(data);
            if (last) {
                inbox.add(text.toString());
                text.setLength(0);
            }
            socket.request(1);
            return null;
        }

        public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
            closed.complete(code);
            return null;
        }

        public void onError(WebSocket socket, Throwable error) {
            closed.completeExceptionally(error);
        }
    }

    static String find(String text, String regex) {
        Matcher matcher = Pattern.compile(regex).matcher(text);
        return matcher.find() ? matcher.group(1) : null;
    }

    static String member(String text, String name) {
        return find(text, "\"" + name + "\":\\s*\"([^\"]*)\"");
    }

    static String next() throws Exception {
        String message = inbox.poll(20, TimeUnit.SECONDS);
        if (message == null)
            throw new IllegalStateException("no message came");
        return message;
    }

    static String envelope(String address, String to, int type, String more) {
        return "{\"from\":\"" + address + "\",\"to\":[\"" + to + "\"],\"type\":" + type + "," + more + "}";
    }

    public static void main(String[] arguments) throws Exception {
        String order = new String(System.in.readAllBytes(), StandardCharsets.UTF_8), address = member(order, "address"), content = member(order, "content");
        WebSocket.Builder builder = HttpClient.newHttpClient().newWebSocketBuilder();
        Matcher headers = Pattern.compile("\"([^\"]+)\":\\s*\"([^\"]*)\"").matcher(
                find(order, "\"headers\":\\s*\\{([^}]*)\\}"));
        while (headers.find())
            builder.header(headers.group(1), headers.group(2));
        Matcher protocols = Pattern.compile("\"([^\"]+)\"").matcher(find(order, "\"protocols\":\\s*\\[([^\\]]*)\\]"));
        String first = protocols.find() ? protocols.group(1) : null;
        if (first != null)
            builder.subprotocols(first, protocols.results().map(match -> match.group(1)).toArray(String[]::new));
        WebSocket socket = builder.buildAsync(URI.create(member(order, "url")), new Listener()).get(20, TimeUnit.SECONDS);

        while (!"welcome".equals(member(next(), "subject")))
            ;
        String mail = envelope(address, address, 1, "\"id\":\"foreign\",\"subject\":\"\",\"content\":\"" + content + "\"");
        socket.sendText(mail, true).get();
        String accepted = null, got = null;
        while (accepted == null || got == null) {
            String message = next();
            if ("accepted".equals(member(message, "subject")))
                accepted = message;
            else if (address.equals(member(message, "from")))
                got = message;
        }
        String seq = member(got, "seq"), cursor = null;
        socket.sendText(envelope(address, "postmaster", 4, "\"id\":\"ack\",\"subject\":\"ack\",\"content\":\"\",\"references\":\""
                + seq + "\""), true).get();
        while (cursor == null) {
            String message = next();
            if ("result".equals(member(message, "subject")))
                cursor = member(message, "cursor");
        }
        socket.sendClose(1000, "").get();
        System.out.println("{\"protocol\":\"" + socket.getSubprotocol() + "\",\"content\":\"" + member(got, "content")
                + "\",\"seq\":\"" + seq + "\",\"cursor\":\"" + cursor + "\",\"code\":" + closed.get(20, TimeUnit.SECONDS)
                + ",\"compressed\":false}");
        System.exit(0);
    }
}
