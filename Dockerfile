# syntax=docker/dockerfile:1
# The server alone, as an unprivileged user. State is in /var/lib/qpq and nowhere else, so the root file system can be
# read-only:
#   docker run --read-only --cap-drop=ALL --security-opt=no-new-privileges -p 7000:7000/udp \
#     -v qpq:/var/lib/qpq -v /etc/qpq:/etc/qpq:ro quicproquo

FROM rust:1.95-slim-bookworm AS build
# The OpenSSL that is compiled into SQLCipher needs perl and make; slim images lack them.
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev make perl \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package qpq-server \
 && install -D -m 0755 target/release/qpq-server /out/usr/bin/qpq-server \
 # Names of functions stay, for the log of a panic; what debuggers want goes.
 && strip --strip-debug /out/usr/bin/qpq-server \
 && install -d -m 0700 -o 65532 -g 65532 /out/var/lib/qpq

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title=qpq-server \
      org.opencontainers.image.description="Server of quicproquo, a self-hosted end-to-end encrypted messenger" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /out/ /
# There is no writable /tmp on a read-only root file system.
ENV SQLITE_TMPDIR=/var/lib/qpq
USER 65532:65532
WORKDIR /var/lib/qpq
VOLUME /var/lib/qpq
# Metrics and health, which listen on the loopback address unless they are told otherwise, are on 9090/tcp.
EXPOSE 7000/udp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["/usr/bin/qpq-server", "healthcheck", "--config", "/etc/qpq/qpq-server.toml", "--data-dir", "/var/lib/qpq"]
ENTRYPOINT ["/usr/bin/qpq-server"]
CMD ["run", "--config", "/etc/qpq/qpq-server.toml", "--data-dir", "/var/lib/qpq"]
