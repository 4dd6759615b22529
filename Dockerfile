# Skald and what it needs to run: glibc and CA certificates. No shell, no package manager.
#
#   docker build -t skald .
#   docker run -v ./skald.yaml:/etc/skald/skald.yaml:ro -v /var/log/app:/var/log/app:ro \
#       -v skald:/var/lib/skald skald
#   some-service | docker run -i --rm --no-healthcheck skald --url http://loki:3100
#
# tests/deploy/image.rs runs the binary in a chroot of just what the second stage holds.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The caches outlive the layer: only what changed is compiled again.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin skald \
    && install -D -m 0755 target/release/skald /out/skald \
    && install -d -m 0700 /out/state

# The same Debian as the builder's, so that its glibc is never older than the binary's.
FROM gcr.io/distroless/cc-debian12
LABEL org.opencontainers.image.title="skald" \
      org.opencontainers.image.description="Ships logs to Grafana Loki and loses nothing" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/skald /skald
COPY --from=build --chown=65532:65532 /out/state /var/lib/skald
# As a number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 9464
# Asks /ready on 127.0.0.1:9464, which is where `admin.listen` is by default.
HEALTHCHECK --interval=30s --timeout=3s --start-period=10s CMD ["/skald", "health"]
ENTRYPOINT ["/skald"]
CMD ["run", "-c", "/etc/skald/skald.yaml"]
