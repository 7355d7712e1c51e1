import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import postoffice.client.Letter;
import postoffice.client.Message;
import postoffice.client.PostOffice;

/** Orders things, many at once, and prints what each order costs. Buyer URL COUNT, with a token in TOKEN. */
public final class Buyer {
    public static void main(String[] arguments) throws Exception {
        try (PostOffice office = PostOffice.builder(arguments[0]).token(System.getenv("TOKEN")).build()) {
            office.connect();
            List<CompletableFuture<Void>> answers = new ArrayList<>();
            for (int number = 1; number <= Integer.parseInt(arguments[1]); number++) {
                int order = number;
                Letter letter = Letter.to("/service/orders").json(Map.of("bolt", order, "nut", 2));
                CompletableFuture<Message> answer = office.requestAsync(letter, Duration.ofMinutes(2));
                answers.add(answer.thenAccept(told -> System.out.println("order " + order + ": " + told.text())));
            }
            CompletableFuture.allOf(answers.toArray(new CompletableFuture<?>[0])).join();
        }
    }
}
