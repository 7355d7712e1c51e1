package postoffice.client;

import java.util.HashMap;
import java.util.Map;

/** A storage that ends with the client. */
public final class MemoryStorage implements Storage {
    private final Map<String, String> values = new HashMap<>();

    /** Makes an empty storage. */
    public MemoryStorage() {
        // Nothing to open.
    }

    @Override
    public Map<String, String> all() {
        return values;
    }

    @Override
    public void write(Map<String, String> changes) {
        apply(values, changes);
    }

    @Override
    public void force() {
        // Nothing outlives the process.
    }

    @Override
    public void close() {
        values.clear();
    }

    static void apply(Map<String, String> values, Map<String, String> changes) {
        changes.forEach((key, value) -> {
            if (value == null) {
                values.remove(key);
            } else {
                values.put(key, value);
            }
        });
    }
}
