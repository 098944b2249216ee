# For Windows and Mac. docs/install.md says how to build and run it.
FROM debian:trixie-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        ca-certificates libgomp1 make python3 python3-venv \
        $(case $(dpkg --print-architecture) in amd64) echo libquadmath0 ;; \
            arm64) echo liblapacke libopenblas0 ;; esac) \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home student && install -d -o student /data
USER student
WORKDIR /home/student/d2l_alexnet
COPY --chown=student . .
RUN make install MXNET=cpu
# The data sets. A volume keeps them when the container is removed.
ENV MXNET_HOME=/data MXNET=cpu
VOLUME /data
CMD ["make", "train"]
