# The suite in a container, for a CPU (the last stage, and so the default) or for an NVIDIA GPU.
#
#   docker build --target cpu -t r21d .            docker build --target cuda -t r21d:cuda .
#   docker run --rm --init -p 8888:8888 -v r21d:/data r21d                          # JupyterLab
#   docker run --rm --init -v "$PWD:/videos" r21d r21d predict /videos/clip.avi     # any command of r21d
#   docker run --rm --init --gpus all --shm-size=2g -v r21d:/data r21d:cuda r21d train figures_scratch
#
# /data holds data sets, runs and results. docs/install.md says how large the images are, and how to give
# one a camera. `python benchmarks/image_size.py` runs these very steps where there is no Docker.
ARG DEBIAN=trixie-slim

FROM debian:${DEBIAN} AS base
RUN apt-get update -qq && apt-get install -qqy --no-install-recommends python3 ca-certificates \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && useradd --create-home --uid 1000 --shell /bin/bash r21d && install -d -m 1777 /data
ENV PATH=/opt/r21d/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV PYTHONUNBUFFERED=1
WORKDIR /suite

FROM base AS installer
RUN apt-get update -qq && apt-get install -qqy --no-install-recommends python3-venv binutils \
    && python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir uv \
    && python3 -m venv --without-pip /opt/r21d
ENV VIRTUAL_ENV=/opt/r21d UV_NO_CACHE=1 UV_LINK_MODE=copy
COPY pyproject.toml constraints.txt ./

# What nothing here uses is taken out again: tests, headers, sources that are compiled, maps of sources, and the
# tables that name a library's inner functions to a debugger (97 MB of torch's). What a library offers to others
# stands in another table, which stays. strip spoils a library that the wheel's maker has edited in some way, such as
# decord's: one that cannot be opened any more is put back whole.
FROM installer AS packages-cpu
ARG TORCH="--torch-backend=cpu -c constraints.txt"
ARG EXTRAS="--extra notebooks --extra live"
RUN /opt/uv/bin/uv pip install -q --compile-bytecode ${TORCH} -r pyproject.toml ${EXTRAS} \
    && cd /opt/r21d/lib/python3*/site-packages \
    && rm -rf torch/test torch/include torch/bin/[!t]* torch/bin/test_* jupyterlab/galata \
    && find . -type d -name tests -prune -exec rm -rf {} + \
    && find /opt/r21d -type f \( -name '*.map' -o -name '*.[ach]' -o -name '*.pyx' -o -name '*.pxd' \) -delete \
    && find . -type f -name '*.so' -exec sh -c 'for one; do cp -p "$one" /tmp/whole && strip --strip-unneeded "$one" \
    && python -c "import ctypes, os, sys; ctypes.CDLL(sys.argv[1]); os._exit(0)" "$one" 2>/dev/null \
    || cp -p /tmp/whole "$one"; done' sh {} +
COPY . .
RUN /opt/uv/bin/uv pip install -q --no-deps -e .

FROM installer AS packages-cuda
ARG TORCH="-c constraints.txt"
ARG EXTRAS="--extra all"
RUN /opt/uv/bin/uv pip install -q --compile-bytecode ${TORCH} -r pyproject.toml ${EXTRAS}
COPY . .
RUN /opt/uv/bin/uv pip install -q --no-deps -e .

# What .devcontainer starts from: there the suite is the reader's own checkout, and `make setup` installs.
FROM base AS dev
RUN apt-get update -qq && apt-get install -qqy --no-install-recommends python3-venv git make \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
USER r21d

FROM base AS suite
ENV R21D_BUILD=/data
COPY --chown=r21d . .
USER r21d
EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser", "notebooks"]

FROM suite AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=packages-cuda /opt/r21d /opt/r21d

FROM suite AS cpu
COPY --from=packages-cpu /opt/r21d /opt/r21d
