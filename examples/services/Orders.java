import java.time.Duration;
import java.util.Map;
import java.util.UUID;
import postoffice.client.Letter;
import postoffice.client.Message;
import postoffice.client.PostOffice;

/**
 * Takes orders, {"bolt": 10, "nut": 20}, and answers with {"cents": …}; asks /service/price what a thing costs. Orders URL,
 * with a token for /service/orders that may relay for /desk/orders/* in TOKEN.
 *
 * <p>The answer to what a service sends goes to whichever of its processes is next. So each process asks from a desk of its own.
 */
public final class Orders {
    public static void main(String[] arguments) throws Exception {
        String token = System.getenv("TOKEN");
        PostOffice desk = PostOffice.builder(arguments[0]).token(token).address("/desk/orders/" + UUID.randomUUID()).build();
        desk.onMessage(late -> System.err.println("too late: " + late)); // its order has been given to another process
        desk.connect();

        PostOffice office = PostOffice.builder(arguments[0]).token(token).build();
        office.serve(4, order -> {
            long total = 0;
            for (Map.Entry<?, ?> line : ((Map<?, ?>) order.json()).entrySet()) {
                Letter question = Letter.to("/service/price").json(Map.of("item", line.getKey()));
                Message answer = desk.request(question, Duration.ofSeconds(20)); // no answer: another process tries
                Map<?, ?> price = (Map<?, ?>) answer.json();
                if (price.containsKey("error")) {
                    return Map.of("error", line.getKey() + ": " + price.get("error"));
                }
                total += ((Number) price.get("cents")).longValue() * ((Number) line.getValue()).longValue();
            }
            return Map.of("cents", total);
        });
        office.connect();
    }
}
