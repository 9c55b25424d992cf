# The server in an image:
#   docker build --target cpu -t longtake:cpu .
#   docker build --target cuda --build-arg CUDA_IMAGE=... -t longtake:cuda .
# CUDA_IMAGE is an image with CUDA 13's toolkit (nvcc, cuBLASLt) in /usr/local/cuda, for glibc 2.36 or older.
# scripts/image-test.sh builds and tries the image without a daemon. docs/kubernetes.md says how it is run.
ARG BASE=debian:bookworm-slim
# The commit that the image is made of, for its label and for --version: --build-arg REVISION="$(git rev-parse HEAD)". The
# build has no history to ask.
ARG REVISION=unknown
ARG CUDA_IMAGE=scratch

FROM ${CUDA_IMAGE} AS toolkit

# ---- Build: every package of scripts/install.sh, so that there is one list. Nothing of this stage is in the image. ----
FROM ${BASE} AS compiler
WORKDIR /src
COPY scripts/common.sh scripts/install.sh scripts/
RUN ./scripts/install.sh && rm -rf /var/lib/apt/lists/*
ENV CCACHE_DIR=/ccache
COPY . .

FROM compiler AS build
ARG REVISION
RUN --mount=type=cache,target=/ccache \
    cmake --preset release -DBUILD_TESTING=OFF -DLONGTAKE_COMMIT="${REVISION}" && \
    cmake --build build/release --target longtake longtake-server && \
    deploy/image/stage.sh build/release /staged

# The programs are the same; the backend is a library that they load.
FROM build AS build-cuda
COPY --from=toolkit /usr/local/cuda /usr/local/cuda
ENV PATH=/usr/local/cuda/bin:$PATH LD_LIBRARY_PATH=/usr/local/cuda/lib64
RUN --mount=type=cache,target=/ccache \
    cmake --preset cuda -DBUILD_TESTING=OFF && \
    cmake --build build/cuda --target longtake_cuda_module && \
    deploy/image/stage.sh build/release /staged-cuda build/cuda/longtake-cuda.so

# What is built, in stages of their own: `--build-context staged=DIR` puts a folder of deploy/image/stage.sh in the place of
# a build.
FROM scratch AS staged
COPY --from=build /staged /

FROM scratch AS staged-cuda
COPY --from=build-cuda /staged-cuda /

# ---- The image -------------------------------------------------------------------------------------------------------
FROM ${BASE} AS runtime
COPY --from=staged /packages /usr/share/longtake/packages
# The packages that the programs are linked with, and the authorities by which they know S3 and collectors of traces. No
# versions: they follow Debian's security updates.
# hadolint ignore=DL3008
RUN apt-get update && \
    xargs apt-get install --yes --no-install-recommends ca-certificates < /usr/share/longtake/packages && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache /var/log/*
# The bundled model has 15 MB, so that the image makes video as it is. Other models are mounted.
COPY models/longtake-tiny /usr/share/longtake/models/longtake-tiny
COPY --chmod=755 deploy/image/verify-model.sh /usr/bin/longtake-verify-model
COPY LICENSE THIRD_PARTY_NOTICES.md /usr/share/doc/longtake/
LABEL org.opencontainers.image.title="longtake" \
      org.opencontainers.image.description="Makes long video from prompts and streams it over gRPC" \
      org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-or-later"
# No name in /etc/passwd: any other user id will do as well. The root file system may be read-only.
USER 10001:10001
EXPOSE 50051 9090
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/longtake-server"]

FROM runtime AS cuda
COPY --from=staged-cuda /programs /
ARG REVISION
LABEL org.opencontainers.image.revision="${REVISION}"
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
CMD ["--listen", "0.0.0.0:50051", "--metrics-listen", "0.0.0.0:9090", "--backend", "cuda", "--dtype", "bfloat16", \
     "--model", "/usr/share/longtake/models/longtake-tiny"]

# Last, so that it is what a build without --target gives.
FROM runtime AS cpu
COPY --from=staged /programs /
ARG REVISION
LABEL org.opencontainers.image.revision="${REVISION}"
CMD ["--listen", "0.0.0.0:50051", "--metrics-listen", "0.0.0.0:9090", \
     "--model", "/usr/share/longtake/models/longtake-tiny"]
