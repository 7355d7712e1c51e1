package postoffice.client;

import java.net.URI;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;

/** The URL of a connection: who, which device, and from where to read (docs/protocol.md, section 1). */
final class Target {
    final URI url;
    final String since; // null: from the device's own place

    private Target(URI url, String since) {
        this.url = url;
        this.since = since;
    }

    /** `first`: no session has stood yet, so the application's own wish where to begin counts. */
    static Target of(Options options, Position position, boolean first) {
        Map<String, String> query = new LinkedHashMap<>();
        query.put("clientID", options.address);
        query.put("device", options.device.isEmpty() ? null : options.device);
        if (first && options.since != null) {
            query.put("since", options.since);
            query.put("epoch", options.epoch);
        } else if (position.isKnown() && !position.isService()) {
            query.put("since", position.seq());
            query.put("epoch", position.epoch());
        }
        StringBuilder url = new StringBuilder(options.url.toString());
        char before = options.url.getRawQuery() == null ? '?' : '&';
        for (Map.Entry<String, String> each : query.entrySet()) {
            if (each.getValue() != null) {
                url.append(before).append(each.getKey()).append('=').append(encoded(each.getValue()));
                before = '&';
            }
        }
        return new Target(URI.create(url.toString()), query.get("since"));
    }

    /** A plus sign is a plus sign to the server, and a blank to URLEncoder. */
    private static String encoded(String value) {
        return URLEncoder.encode(value, StandardCharsets.UTF_8).replace("+", "%20");
    }
}
