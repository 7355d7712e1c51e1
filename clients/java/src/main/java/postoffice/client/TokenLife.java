package postoffice.client;

import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.format.DateTimeParseException;
import java.util.Arrays;
import java.util.Base64;
import java.util.Map;

/** When a token ends, read from the token itself. Verifies nothing: that is the server's part. */
final class TokenLife {
    static final long UNKNOWN = -1;
    private static final int SIGNATURE_BYTES = 64; // of a PASETO v4.public, behind the claims

    private TokenLife() {
    }

    /** How many milliseconds a token that was just given is good for; UNKNOWN when the token does not say. */
    static long leftMs(String token, long nowMs) {
        try {
            Map<String, Object> claims = claims(token);
            Long end = timeMs(claims.get("exp"));
            if (end == null) {
                return UNKNOWN;
            }
            Long begin = timeMs(claims.get("iat"));
            return begin == null ? Math.max(0, end - nowMs) : between(begin, end, nowMs);
        } catch (IllegalArgumentException | DateTimeParseException e) { // some other format: only the server knows
            return UNKNOWN;
        }
    }

    /** A clock of this host that is wrong by hours is told by a token that is not begun or over: then its whole life counts. */
    private static long between(long begin, long end, long nowMs) {
        boolean plausible = nowMs > begin - 60_000 && nowMs < end;
        return plausible ? end - nowMs : Math.max(0, end - begin);
    }

    private static Map<String, Object> claims(String token) {
        String[] parts = token.split("\\.");
        if (token.startsWith("v4.public.") && parts.length >= 3) {
            byte[] signed = Base64.getUrlDecoder().decode(parts[2]);
            return json(Arrays.copyOf(signed, Math.max(0, signed.length - SIGNATURE_BYTES)));
        }
        if (parts.length != 3) {
            return Map.of();
        }
        return json(Base64.getUrlDecoder().decode(parts[1]));
    }

    private static Map<String, Object> json(byte[] text) {
        return Message.map(Json.parse(new String(text, StandardCharsets.UTF_8)));
    }

    private static Long timeMs(Object claim) {
        if (claim instanceof Number) {
            return (long) (((Number) claim).doubleValue() * 1000);
        }
        return claim instanceof String ? (Long) java.time.OffsetDateTime.parse((String) claim).toInstant().toEpochMilli() : null;
    }

    static long leftMs(String token) {
        return leftMs(token, Instant.now().toEpochMilli());
    }
}
