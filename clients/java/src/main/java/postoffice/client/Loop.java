package postoffice.client;

import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Executor;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/**
 * The one thread on which all state of a client lives, so that nothing else in this package needs a lock. Nothing waits here,
 * and no code of the application runs here.
 *
 * <p>The thread is no daemon: a program whose {@code main} has returned goes on until its clients are closed. After
 * {@link #stop} a task runs at once, on the thread that brings the task: so every question is answered.
 */
final class Loop implements Executor {
    private static final System.Logger LOG = System.getLogger("postoffice.client");

    private final Queue<Runnable> tasks = new ConcurrentLinkedQueue<>();
    private final ScheduledThreadPoolExecutor thread;

    Loop() {
        thread = new ScheduledThreadPoolExecutor(1, task -> new Thread(task, "postoffice-client"));
        thread.setRemoveOnCancelPolicy(true);
        thread.setExecuteExistingDelayedTasksAfterShutdownPolicy(false);
    }

    static long nowMs() {
        return System.nanoTime() / 1_000_000;
    }

    @Override
    public void execute(Runnable task) {
        tasks.add(task);
        try {
            thread.execute(this::runAll);
        } catch (RejectedExecutionException e) {
            runAll();
        }
    }

    /** Runs a task later, unless the loop has stopped by then. */
    Future<?> after(long delayMs, Runnable task) {
        try {
            return thread.schedule(() -> run(task), delayMs, TimeUnit.MILLISECONDS);
        } catch (RejectedExecutionException e) {
            return null;
        }
    }

    static void cancel(Future<?> planned) {
        if (planned != null) {
            planned.cancel(false);
        }
    }

    void stop() {
        thread.shutdown();
        runAll(); // what came before the end is not forgotten
    }

    private synchronized void runAll() {
        for (Runnable task = tasks.poll(); task != null; task = tasks.poll()) {
            run(task);
        }
    }

    private static void run(Runnable task) {
        try {
            task.run();
        } catch (RuntimeException | Error e) {
            LOG.log(System.Logger.Level.ERROR, "a fault of this library", e);
        }
    }
}
