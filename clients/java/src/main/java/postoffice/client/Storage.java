package postoffice.client;

import java.io.Closeable;
import java.io.IOException;
import java.util.Map;

/**
 * Where a client keeps its device, its outbox and the ids that it has handled: text by key.
 *
 * <p>A client calls a storage from one thread at a time, and closes it. {@link MemoryStorage} is the default,
 * {@link FileStorage} survives the process.
 */
public interface Storage extends Closeable {
    /**
     * All that is kept.
     *
     * @return text by key; the caller does not change the map
     * @throws IOException when nothing can be read
     */
    Map<String, String> all() throws IOException;

    /**
     * Changes some keys, all of them or none. When the method returns, the change outlives the process.
     *
     * @param changes text by key; null deletes
     * @throws IOException when nothing was changed
     */
    void write(Map<String, String> changes) throws IOException;

    /**
     * Makes all changes so far outlive the machine.
     *
     * @throws IOException when that cannot be promised
     */
    void force() throws IOException;
}
