# PostOffice as a container: the static program of our own tarball, its licences and a configuration, nothing else.
#
#   make dist ARCHES=amd64
#   docker build -t postoffice .          (or podman; an engine without BuildKit: --build-arg TARGETARCH=amd64)
#
# The server runs as PID 1, without privileges, on a root that may be read-only: it writes no file. SIGTERM ends it in
# order, SIGHUP reloads. scripts/container/config-container.json is the configuration; every key also has an environment
# variable (websocket-server explain-config). compose.yaml runs two nodes and a Redis.
FROM scratch AS unpacked
ARG VERSION=0.1.0
ARG TARGETARCH
ADD dist/postoffice-${VERSION}-linux-${TARGETARCH}.tar.gz /

FROM scratch
ARG VERSION=0.1.0
ARG TARGETARCH
COPY --from=unpacked /postoffice-${VERSION}-linux-${TARGETARCH}/usr/local/sbin/websocket-server /usr/local/sbin/
COPY --from=unpacked /postoffice-${VERSION}-linux-${TARGETARCH}/usr/local/share/doc/postoffice/licences/ /usr/local/share/doc/postoffice/licences/
COPY scripts/container/config-container.json /etc/postoffice/
COPY --chown=65534:65534 scripts/container/keys/ /etc/postoffice/keys/
ENV POSTOFFICE_ENV=container
USER 65534:65534
EXPOSE 7502
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/usr/local/sbin/websocket-server", "status", "--check", "--pid", "1"]
ENTRYPOINT ["/usr/local/sbin/websocket-server"]
CMD ["serve"]
