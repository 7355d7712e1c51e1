/**
 * A client of the PostOffice messaging server: mail, signals, posts, and the service mode for workers of a service address.
 *
 * <p>{@link postoffice.client.PostOffice} is where to begin. The package needs JDK 11 or newer and nothing else: the WebSocket
 * is that of {@code java.net.http}.
 */
package postoffice.client;
