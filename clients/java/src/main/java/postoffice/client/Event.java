package postoffice.client;

import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.Executor;
import java.util.function.Consumer;

/** Something that a client tells: the listeners of one kind, called one after the other on the thread of events. */
final class Event<T> {
    private final List<Consumer<T>> listeners = new CopyOnWriteArrayList<>();
    private final Executor thread;

    Event(Executor thread) {
        this.thread = thread;
    }

    void add(Consumer<T> listener) {
        listeners.add(listener);
    }

    boolean isHeard() {
        return !listeners.isEmpty();
    }

    void tell(T value) {
        tell(value, () -> { });
    }

    /** Runs {@code then} behind the listeners, on their thread. A listener that throws keeps nobody else from hearing. */
    void tell(T value, Runnable then) {
        thread.execute(() -> {
            for (Consumer<T> each : listeners) {
                try {
                    each.accept(value);
                } catch (RuntimeException e) {
                    System.getLogger("postoffice.client").log(System.Logger.Level.WARNING, "a listener failed", e);
                }
            }
            then.run();
        });
    }
}
