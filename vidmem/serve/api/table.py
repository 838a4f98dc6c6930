"""Every route of the API, with its parameters and its document. The OpenAPI document is made from this table."""

from __future__ import annotations

from ...query import arguments
from ...query.documents import HaystackDocument, ThingsDocument, TimelineDocument, WhereDocument
from ...query.source_documents import BoxesDocument, LanesDocument, MemoryDocument, NamesDocument
from ..job_documents import JobDocument, JobsDocument
from . import gallery, jobs, pictures, questions, sources
from .parameters import (
    FILTERS,
    FLAG,
    MAX_TOP,
    MIN_PROBABILITY,
    SOURCE,
    SOURCES,
    TIMES,
    TRACKS,
    WHOLE,
    WORDS_AND_PICTURES,
    flag,
    top,
    whole,
)
from .route import Parameter, Route

_T_NS = Parameter(
    "t_ns", "A time on the clock of the source, in ns.", whole("t_ns"), WHOLE, required=True, in_path=True
)
_BOX = Parameter(
    "box", "x0,y0,x1,y1 in pixels of the source.", arguments.box, {"type": "string", "pattern": "^[^,]+(,[^,]+){3}$"}
)
_NEEDED_BOX = Parameter(_BOX.name, _BOX.help, _BOX.read, _BOX.schema, required=True)
_WIDTH = Parameter(
    "width",
    "Maximum width in pixels; the next of 160, 320, 480, 640, 960, 1280 and 1920 is taken.",
    whole("width", 1),
    WHOLE,
)
_JOB = Parameter("job", "The id of a job.", in_path=True, required=True)
_OFFSET = Parameter("offset", "Leave out this many.", whole("offset", 0), WHOLE, default=0)
_TOP_THINGS = Parameter("top", "How many things.", whole("top", 1, MAX_TOP), WHOLE, default=20)

_CHOICE = (
    Parameter("name", "Only things whose name, or a guess at it, contains this.", default=""),
    Parameter("called", "Only things that surely have this name."),
    Parameter("named", "1: only things with a sure name; 0: only the others.", flag("named"), FLAG),
    Parameter("track", "Only the thing that has the track with this id.", whole("track", 0), WHOLE),
)

ROUTES: tuple[Route, ...] = (
    Route("/server", "The state of the server.", sources.server, sources.ServerDocument),
    Route("/stats", "What the memory holds, as `vidmem info --json`.", sources.stats, MemoryDocument),
    Route(
        "/where",
        "When and where a thing was last seen, as `vidmem where --json`.",
        questions.where,
        WhereDocument,
        (
            *WORDS_AND_PICTURES,
            Parameter(
                "top",
                "How many sightings, newest first, or all.",
                top,
                {"anyOf": [{"type": "integer", "minimum": 1}, {"const": "all"}]},
                default=1,
            ),
            *FILTERS,
        ),
    ),
    Route(
        "/timeline",
        "All sightings of what is asked for, thing by thing, as `vidmem timeline --json`.",
        questions.timeline,
        TimelineDocument,
        (
            *WORDS_AND_PICTURES,
            Parameter(
                "alike", "Add sightings that look like a thing that was found.", flag("alike"), FLAG, default=False
            ),
            *FILTERS,
        ),
    ),
    Route(
        "/things",
        "What is in the memory, as `vidmem things --json`.",
        questions.things,
        ThingsDocument,
        (
            *TIMES,
            Parameter("newest", "Begin with what was seen last.", flag("newest"), FLAG, default=False),
            MIN_PROBABILITY,
            *_CHOICE,
            _TOP_THINGS,
            _OFFSET,
        ),
        pool="lists",
    ),
    Route(
        "/things/names",
        "What the things in the memory are called, the name that was longest in view first.",
        gallery.names,
        gallery.ThingNamesDocument,
        (*TIMES, *_CHOICE, _TOP_THINGS, _OFFSET),
        pool="lists",
    ),
    Route(
        "/sightings",
        "All sightings of one thing, from the ids of its tracks.",
        questions.sightings,
        questions.SightingsDocument,
        (TRACKS,),
    ),
    Route(
        "/haystack",
        "Which photo is meant, and whether something is in it, as `vidmem haystack --json`.",
        questions.haystack,
        HaystackDocument,
        (
            Parameter("question", 'Such as "the image with the dog: is there a frisbee?".'),
            Parameter("anchor", "Instead of `question`: what identifies the photo."),
            Parameter("target", "Instead of `question`: what to look for in it."),
            Parameter("rule", "default or paper.", default="default"),
        ),
    ),
    Route(
        "/names",
        "The names that the encoder knows, those that begin with the prefix first.",
        questions.names,
        NamesDocument,
        (
            Parameter("prefix", "Only names that contain this.", default=""),
            Parameter("limit", "How many.", whole("limit", 1, questions.MAX_NAMES), WHOLE, default=20),
        ),
    ),
    Route("/sources", "All sources.", sources.sources, sources.SourcesDocument),
    Route("/sources/{source}", "One source.", sources.source, sources.ServedSource, (SOURCE,)),
    Route(
        "/sources/{source}/things",
        "The things in one source, with all stretches of time in which each was in view.",
        sources.lanes,
        LanesDocument,
        (SOURCE, _TOP_THINGS, _OFFSET),
        pool="lists",
    ),
    Route(
        "/sources/{source}/boxes",
        "The boxes of tracks over time.",
        sources.boxes,
        BoxesDocument,
        (
            SOURCE,
            TRACKS,
            Parameter("start_ns", "From this time on.", whole("start_ns"), WHOLE, default=0),
            Parameter("end_ns", "Until this time, inclusive.", whole("end_ns"), WHOLE),
        ),
    ),
    Route(
        "/photos",
        "All photos, the newest first; those without a date come last.",
        gallery.photos,
        gallery.PhotosDocument,
        (SOURCES, Parameter("top", "How many photos.", whole("top", 1, MAX_TOP), WHOLE, default=60), _OFFSET),
    ),
    Route(
        "/photos/{source}/{t_ns}",
        "One photo, and the things in it.",
        gallery.photo,
        gallery.PhotoDetails,
        (SOURCE, _T_NS),
    ),
    Route(
        "/pictures",
        "Send a picture of a thing, and get a name for `picture` of /where.",
        pictures.send,
        pictures.PictureDocument,
        method="POST",
        body="The bytes of a picture file, at most 20 MB.",
        pool="pictures",
    ),
    Route(
        "/frames/{source}/{t_ns}.jpg",
        "The picture on display at a time, or the photo with this `frame_ns`.",
        pictures.frame,
        pictures.JPEG,
        (SOURCE, _T_NS, _BOX, _WIDTH),
        pool="pictures",
    ),
    Route(
        "/crops/{source}/{t_ns}.jpg",
        "What is in a box of a picture, with a margin.",
        pictures.crop,
        pictures.JPEG,
        (SOURCE, _T_NS, _NEEDED_BOX, _WIDTH),
        pool="pictures",
    ),
    Route(
        "/clips/{source}/{span}.mp4",
        "A clip of up to 60 s as H.264, with the box of some tracks drawn.",
        pictures.clip,
        pictures.MP4,
        (
            SOURCE,
            Parameter("span", "START-END in ns.", schema={"type": "string", "pattern": r"^\d+-\d+$"}, in_path=True),
            Parameter(TRACKS.name, TRACKS.help, TRACKS.read, TRACKS.schema),
        ),
        pool="clips",
    ),
    Route(
        "/videos/{source}",
        "The bytes of a video file; one range of them with the header Range.",
        pictures.video,
        "video/*",
        (SOURCE,),
        pool="pictures",
        ranges=True,
    ),
    Route("/jobs", "All jobs that the server remembers, newest first.", jobs.jobs, JobsDocument),
    Route("/jobs/{job}", "One job.", jobs.job, JobDocument, (_JOB,)),
    Route(
        "/jobs",
        "Index or forget something, if the server was started with the right to write.",
        jobs.post,
        JobDocument,
        method="POST",
        body="What to do.",
        takes=jobs.REQUEST,
    ),
    Route(
        "/jobs/{job}",
        "Cancel a job. What it has indexed stays, and the same job resumes it.",
        jobs.cancel,
        JobDocument,
        (_JOB,),
        method="DELETE",
    ),
)
