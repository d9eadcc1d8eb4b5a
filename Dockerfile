# The commands on a CPU, with TensorFlow:
#   docker build --tag keras-encdec .
#   docker run --rm --volume "$PWD:/work" keras-encdec train --config run.toml
FROM python:3.11-slim

WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY keras_encdec keras_encdec
# Without CUDA: none of what is installed needs it.
RUN pip install --no-cache-dir --no-compile --constraint constraints.txt ".[serving]" \
    && rm -rf /source \
    && useradd --create-home user

USER user
WORKDIR /work
ENTRYPOINT ["keras-encdec"]
CMD ["--help"]
