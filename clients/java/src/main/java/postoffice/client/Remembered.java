package postoffice.client;

import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/** The messages handled last, so that none is handled twice: a ring of keys, in the storage slot by slot. Lives on the loop. */
final class Remembered {
    private static final String KEY = "seen/";
    private static final String NEXT = "seen-next";

    private final String[] ring;
    private final Set<String> keys = new HashSet<>();
    private int next;

    Remembered(int count, Map<String, String> stored) {
        ring = new String[Math.max(1, count)];
        for (int i = 0; i < ring.length; i++) {
            ring[i] = stored.get(KEY + i);
            if (ring[i] != null) {
                keys.add(ring[i]);
            }
        }
        next = Integer.parseInt(stored.getOrDefault(NEXT, "0")) % ring.length;
    }

    boolean has(String key) {
        return keys.contains(key);
    }

    /** Remembers a message; returns what the storage has to keep of that. */
    Map<String, String> add(String key) {
        if (ring[next] != null) {
            keys.remove(ring[next]);
        }
        ring[next] = key;
        keys.add(key);
        Map<String, String> changes = new HashMap<>();
        changes.put(KEY + next, key);
        next = (next + 1) % ring.length;
        changes.put(NEXT, String.valueOf(next));
        return changes;
    }
}
