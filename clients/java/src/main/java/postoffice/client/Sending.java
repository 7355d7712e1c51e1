package postoffice.client;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Consumer;

/**
 * A message under way. Settles with {@link Accepted}, or fails with {@link RejectedException} or {@link ClosedException}; the
 * receipts that the message asked for are told to whoever asked with {@link #onReceipt}.
 *
 * <p>Cancelling has no effect on the message.
 */
public final class Sending extends CompletableFuture<Accepted> {
    private final String id;
    private final List<Consumer<Receipt>> listeners = new CopyOnWriteArrayList<>();
    private final List<Receipt> receipts = new ArrayList<>();

    Sending(String id) {
        this.id = id;
    }

    /**
     * The message's id, known before anybody has answered.
     *
     * @return the id
     */
    public String id() {
        return id;
    }

    /**
     * The receipts so far.
     *
     * @return a copy
     */
    public List<Receipt> receipts() {
        synchronized (receipts) {
            return List.copyOf(receipts);
        }
    }

    /**
     * Tells receipts as they come, also those that came before this call. The client joins receipts to the latest 10,000
     * messages that asked for one, as long as the program runs; {@link PostOffice#onReceipt} tells all.
     *
     * @param listener called on the thread of events
     * @return this
     */
    public Sending onReceipt(Consumer<Receipt> listener) {
        synchronized (receipts) {
            receipts.forEach(listener);
            listeners.add(listener);
        }
        return this;
    }

    void told(Receipt receipt) {
        synchronized (receipts) {
            receipts.add(receipt);
            listeners.forEach(each -> each.accept(receipt));
        }
    }
}
