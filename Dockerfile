# All programs of the repository, for docker-compose.yml and for a worker of your own.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ENV CGO_ENABLED=0
RUN mkdir /out \
 && go build -buildvcs=false -trimpath -o /out/contraflow ./starter \
 && go build -buildvcs=false -trimpath -o /out/contraflow-worker ./worker \
 && go build -buildvcs=false -trimpath -o /out/shop ./examples/shop \
 && go build -buildvcs=false -trimpath -o /out/devstack ./internal/devstack/cmd/devstack

# Makes the shop's database and the plan root; psql is what it needs besides.
FROM postgres:17 AS prepare
COPY --from=build /out/shop /usr/local/bin/
COPY examples/shop/plan.yaml /example/
COPY examples/shop/migrations /example/migrations
COPY deploy/prepare.sh /usr/local/bin/prepare
ENTRYPOINT ["bash", "/usr/local/bin/prepare"]

# The command line and the worker: what one deploys.
FROM debian:bookworm-slim AS contraflow
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --no-create-home contraflow
COPY --from=build /out/contraflow /out/contraflow-worker /usr/local/bin/
USER contraflow
ENTRYPOINT ["contraflow-worker"]
CMD ["-config", "/etc/contraflow/worker.yaml"]

# The example shop and the stand-ins for LaunchDarkly and Slack: for trying out only.
FROM contraflow AS example
COPY --from=build /out/shop /out/devstack /usr/local/bin/
ENTRYPOINT []
CMD ["shop", "serve", "--listen", "0.0.0.0:8080"]
