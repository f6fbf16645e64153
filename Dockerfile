# The environment of `make repro`, and the checkout in it. Build: docker build -t transgan-bench .
# Run: docker run --rm -v "$PWD/out:/bench/results/quick" transgan-bench
FROM python:3.12-slim
RUN apt-get update && apt-get install -y --no-install-recommends git make && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir uv
WORKDIR /bench
COPY . .
RUN make install
ENV PATH=/bench/.venv/bin:$PATH
CMD ["make", "repro"]
