# The two images, for people with Docker: static programs, FROM scratch, not root.
#   docker build --target worldstream -t docker.io/worldstream/worldstream:0.1.0 .
#   docker build --target worldstream-operator -t docker.io/worldstream/worldstream-operator:0.1.0 .
# `make images` builds the same without Docker.
ARG RUST_IMAGE=docker.io/library/rust:1.95-bookworm
FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
# With a target named, flags are for the programs alone and not for what runs in the build.
RUN set -e; \
    host=$(rustc -vV | sed -n 's/^host: //p'); \
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release --target "$host" \
        --bin worldstream --bin worldstream-operator; \
    mkdir /out; \
    for name in worldstream worldstream-operator; do \
        cp "target/$host/release/$name" /out/; \
        cargo run --locked --quiet --bin bed -- sbom "$name" >"/out/$name.cdx.json"; \
    done

FROM scratch AS worldstream-operator
LABEL org.opencontainers.image.title="worldstream-operator" \
      org.opencontainers.image.description="Makes WorldStream resources into paced worker Jobs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0" \
      io.worldstream.sbom="/sbom.cdx.json"
COPY --from=build /out/worldstream-operator /worldstream-operator
COPY --from=build /out/worldstream-operator.cdx.json /sbom.cdx.json
USER 65532:65532
ENTRYPOINT ["/worldstream-operator"]

FROM scratch AS worldstream
LABEL org.opencontainers.image.title="worldstream" \
      org.opencontainers.image.description="Replays a sealed world as live traffic to an Ingestion Gate" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0" \
      io.worldstream.sbom="/sbom.cdx.json"
COPY --from=build /out/worldstream /worldstream
COPY --from=build /out/worldstream.cdx.json /sbom.cdx.json
USER 65532:65532
ENTRYPOINT ["/worldstream"]
